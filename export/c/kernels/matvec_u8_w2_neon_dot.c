/* needs: dot_products */
/* A code stands in the upper two bits of a byte, where its sign is the byte's: the sums are 64 times as large, and right while
   columns are fewer than 131,072. */
static void matvec_u8_w2(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const int8x16_t top = vdupq_n_s8(-64);
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4x4_t sum = no_sums();
        for (size_t column = 0; column < columns; column += 16, w += 64) {
            const int8x16_t v = less_128(vld1q_u8(x + column));
            const int8x16x4_t all = vld1q_s8_x4(w);
            int8x16x4_t w0, w1, w2, w3;
            for (int group = 0; group < 4; ++group) {
                w0.val[group] = vshlq_n_s8(all.val[group], 6);
                w1.val[group] = vandq_s8(vshlq_n_s8(all.val[group], 4), top);
                w2.val[group] = vandq_s8(vshlq_n_s8(all.val[group], 2), top);
                w3.val[group] = vandq_s8(all.val[group], top);
            }
            DOT_TILE(sum, w0, v, 0);
            DOT_TILE(sum, w1, v, 1);
            DOT_TILE(sum, w2, v, 2);
            DOT_TILE(sum, w3, v, 3);
        }
        for (int group = 0; group < 4; ++group) {
            int32_t *to = acc + row + 4 * group;
            vst1q_s32(to, vsraq_n_s32(vld1q_s32(to), sum.val[group], 6));
        }
    }
}
