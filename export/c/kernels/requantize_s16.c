/* needs: requantized */
/* count accumulators at another scale, each as requantized() does it; the multiplier of number n is
   multiplier[n * stride01]: one for all with stride01 = 0, one a channel with 1. */
static void requantize_s16(int16_t *y, const int32_t *acc, const int32_t *multiplier, size_t count,
                           size_t stride01, unsigned shift, int32_t zero_point, int32_t low, int32_t high)
{
    for (size_t n = 0; n < count; ++n) {
        y[n] = (int16_t)requantized(acc[n], multiplier[n * stride01], shift, zero_point, low, high);
    }
}
