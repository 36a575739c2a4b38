/* floor(value / 2^shift), shift < 31, whatever the compiler does with the right shift of a negative number. */
static int32_t floor_shift_s32(int32_t value, unsigned shift)
{
    return value < 0 ? ~(~value >> shift) : value >> shift;
}
