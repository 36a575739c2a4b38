/* needs: floor_shift_s32 */
/* rounded() in 32 bits, where value + 2^(shift-1) fits them and shift is at most 30. */
static int32_t rounded_s32(int32_t value, unsigned shift, int32_t zero_point, int32_t low, int32_t high)
{
    const int32_t half = shift == 0 ? 0 : (int32_t)1 << (shift - 1);
    const int32_t result = floor_shift_s32(value + half, shift) + zero_point;
    return result < low ? low : result > high ? high : result;
}
