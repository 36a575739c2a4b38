/* rounded() in 32 bits, where value + 2^(shift-1) fits them and shift is at most 30. C99 leaves the right shift of a negative
   number to the compiler; this form does not use it, and compilers make one arithmetic shift of it. */
static int32_t rounded_s32(int32_t value, unsigned shift, int32_t zero_point, int32_t low, int32_t high)
{
    const int32_t sum = value + (shift == 0 ? 0 : (int32_t)1 << (shift - 1));
    const int32_t result = (sum < 0 ? ~(~sum >> shift) : sum >> shift) + zero_point;
    return result < low ? low : result > high ? high : result;
}
