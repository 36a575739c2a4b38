/* needs: dot_products */
/* 4 rows of each component at a time, for which both bytes of all four parts stay in registers. */
static void quaternion_s16_w8(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns,
                              size_t part)
{
    int more = 0;
    for (size_t p = 0; p < 4; ++p) {
        more |= any_more(x + p * part, columns);
    }
    for (size_t row = 0; row < rows; row += 4) {
        const int8_t *w = (const int8_t *)weight + row / 16 * columns * 64 + row % 16 * 4;
        int32x4_t low[4] = {vld1q_s32(acc + row), vld1q_s32(acc + rows + row), vld1q_s32(acc + 2 * rows + row),
                            vld1q_s32(acc + 3 * rows + row)};
        int32x4_t high[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
        for (size_t column = 0; column < columns; column += 4, w += 256) {
            const int8x16_t wr = vld1q_s8(w), wi = vld1q_s8(w + 64), wj = vld1q_s8(w + 128), wk = vld1q_s8(w + 192);
            const int8x16_t ni = vnegq_s8(wi), nj = vnegq_s8(wj), nk = vnegq_s8(wk);
            const int8x16_t weights[4][4] = {{wr, ni, nj, nk}, {wi, wr, nk, wj}, {wj, wk, wr, ni}, {wk, nj, wi, wr}};
            for (size_t q = 0; q < 4; ++q) {
                const int64x2_t four = vreinterpretq_s64_s16(vcombine_s16(vld1_s16(x + q * part + column), vdup_n_s16(0)));
                const int16x8_t both = vreinterpretq_s16_s64(vdupq_laneq_s64(four, 0));
                const signed_bytes v = bytes_of(both, both);
                for (size_t p = 0; p < 4; ++p) {
                    low[p] = vdotq_s32(low[p], weights[p][q], v.low);
                    high[p] = vdotq_s32(high[p], weights[p][q], v.high);
                    if (more) {
                        high[p] = vdotq_s32(high[p], weights[p][q], v.more);
                    }
                }
            }
        }
        for (size_t p = 0; p < 4; ++p) {
            vst1q_s32(acc + p * rows + row, vaddq_s32(low[p], vshlq_n_s32(high[p], 8)));
        }
    }
}
