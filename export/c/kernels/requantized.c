/* needs: floor_shift */
/* One accumulator at another scale: clip(floor((accumulator * multiplier + 2^(shift-1)) / 2^shift) + zero_point, low, high),
   ties towards plus infinity; shift is at most 46, and 0 adds nothing before it. */
static int32_t requantized(int32_t accumulator, int32_t multiplier, unsigned shift, int32_t zero_point, int32_t low,
                           int32_t high)
{
    const int64_t half = shift == 0 ? 0 : (int64_t)1 << (shift - 1);
    const int64_t value = floor_shift((int64_t)accumulator * multiplier + half, shift) + zero_point;
    return value < low ? low : value > high ? high : (int32_t)value;
}
