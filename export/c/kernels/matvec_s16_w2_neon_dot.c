/* needs: dot_products */
/* Activations in two bytes, weights 64 times as large: as in matvec_s16_w8 and matvec_u8_w2. */
static void matvec_s16_w2(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const int8x16_t top = vdupq_n_s8(-64);
    const int more = any_more(x, columns);
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4x4_t low = no_sums(), high = no_sums();
        for (size_t column = 0; column < columns; column += 16, w += 64) {
            const signed_bytes v = bytes_of(vld1q_s16(x + column), vld1q_s16(x + column + 8));
            const int8x16x4_t all = vld1q_s8_x4(w);
            int8x16x4_t w0, w1, w2, w3;
            for (int group = 0; group < 4; ++group) {
                w0.val[group] = vshlq_n_s8(all.val[group], 6);
                w1.val[group] = vandq_s8(vshlq_n_s8(all.val[group], 4), top);
                w2.val[group] = vandq_s8(vshlq_n_s8(all.val[group], 2), top);
                w3.val[group] = vandq_s8(all.val[group], top);
            }
            DOT_TILE(low, w0, v.low, 0);
            DOT_TILE(high, w0, v.high, 0);
            DOT_TILE(low, w1, v.low, 1);
            DOT_TILE(high, w1, v.high, 1);
            DOT_TILE(low, w2, v.low, 2);
            DOT_TILE(high, w2, v.high, 2);
            DOT_TILE(low, w3, v.low, 3);
            DOT_TILE(high, w3, v.high, 3);
            if (more) {
                DOT_TILE(high, w0, v.more, 0);
                DOT_TILE(high, w1, v.more, 1);
                DOT_TILE(high, w2, v.more, 2);
                DOT_TILE(high, w3, v.more, 3);
            }
        }
        for (int group = 0; group < 4; ++group) {
            int32_t *to = acc + row + 4 * group;
            const int32x4_t exact = vshrq_n_s32(high.val[group], 6);
            vst1q_s32(to, vaddq_s32(vsraq_n_s32(vld1q_s32(to), low.val[group], 6), vshlq_n_s32(exact, 8)));
        }
    }
}
