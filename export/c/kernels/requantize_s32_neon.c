/* needs: requantized, requantized_vector */
static void requantize_s32(int32_t *y, const int32_t *acc, const int32_t *multiplier, size_t count,
                           size_t stride01, unsigned shift, int32_t zero_point, int32_t low, int32_t high)
{
    const int64x2_t minus_shift = vdupq_n_s64(-(int64_t)shift), zero = vdupq_n_s64(zero_point);
    const int32x4_t lowest = vdupq_n_s32(low), highest = vdupq_n_s32(high);
    size_t n = 0;
    for (; n + 8 <= count; n += 8) {
        int32x4_t m0 = vdupq_n_s32(multiplier[0]), m1 = m0;
        if (stride01 != 0) {
            m0 = vld1q_s32(multiplier + n);
            m1 = vld1q_s32(multiplier + n + 4);
        }
        const int32x4_t first = requantized_vector(vld1q_s32(acc + n), m0, minus_shift, zero, lowest, highest);
        const int32x4_t second = requantized_vector(vld1q_s32(acc + n + 4), m1, minus_shift, zero, lowest, highest);
        vst1q_s32(y + n, first);
        vst1q_s32(y + n + 4, second);
    }
    for (; n < count; ++n) {
        y[n] = (int32_t)requantized(acc[n], multiplier[n * stride01], shift, zero_point, low, high);
    }
}
