/* needs: floor_shift */
/* m = round(values[n] multiplier / 2^shift); candidate[n] = max(m, round(m slope / 2^15)), clipped to -2^15 ... high.
   values are of 16 bits, slope is Q0.15: 0 is ReLU. */
static void rectified_candidate(int16_t *candidate, const int32_t *values, size_t count, int32_t multiplier,
                                unsigned shift, int32_t slope, int32_t high)
{
    const int64_t half = ((int64_t)1 << shift) >> 1;
    for (size_t n = 0; n < count; n++) {
        const int64_t m = floor_shift((int64_t)values[n] * multiplier + half, shift);
        const int64_t sloped = floor_shift(m * slope + 16384, 15);
        const int64_t largest = m > sloped ? m : sloped;
        candidate[n] = (int16_t)(largest < -32768 ? -32768 : largest > high ? high : largest);
    }
}
