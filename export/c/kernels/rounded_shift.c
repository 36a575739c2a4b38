/* needs: floor_shift_s32 */
/* floor((value + 2^(shift-1)) / 2^shift), shift < 31; a shift of 0 adds nothing. value + 2^(shift-1) fits 32 bits. */
static int32_t rounded_shift(int32_t value, unsigned shift)
{
    return floor_shift_s32(value + (((int32_t)1 << shift) >> 1), shift);
}
