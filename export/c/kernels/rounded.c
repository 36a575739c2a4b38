/* needs: floor_shift */
/* clip(floor((value + 2^(shift-1)) / 2^shift) + zero_point, low, high), ties towards plus infinity; shift is at most 46, and 0
   adds nothing before it. */
static int32_t rounded(int64_t value, unsigned shift, int32_t zero_point, int32_t low, int32_t high)
{
    const int64_t half = shift == 0 ? 0 : (int64_t)1 << (shift - 1);
    const int64_t result = floor_shift(value + half, shift) + zero_point;
    return result < low ? low : result > high ? high : (int32_t)result;
}
