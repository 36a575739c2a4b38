/* needs: dot_products */
/* Activations in two bytes, weights 16 times as large: as in matvec_s16_w8 and matvec_u8_w4. */
static void matvec_s16_w4(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const int more = any_more(x, columns);
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4x4_t low = no_sums(), high = no_sums();
        for (size_t column = 0; column < columns; column += 8, w += 64) {
            const signed_bytes v = bytes_of(vld1q_s16(x + column), vdupq_n_s16(0));
            const int8x16x4_t both = vld1q_s8_x4(w);
            int8x16x4_t w0, w1;
            for (int group = 0; group < 4; ++group) {
                w0.val[group] = vshlq_n_s8(both.val[group], 4);
                w1.val[group] = vandq_s8(both.val[group], vdupq_n_s8(-16));
            }
            DOT_TILE(low, w0, v.low, 0);
            DOT_TILE(high, w0, v.high, 0);
            DOT_TILE(low, w1, v.low, 1);
            DOT_TILE(high, w1, v.high, 1);
            if (more) {
                DOT_TILE(high, w0, v.more, 0);
                DOT_TILE(high, w1, v.more, 1);
            }
        }
        for (int group = 0; group < 4; ++group) {
            int32_t *to = acc + row + 4 * group;
            const int32x4_t exact = vshrq_n_s32(high.val[group], 4);
            vst1q_s32(to, vaddq_s32(vsraq_n_s32(vld1q_s32(to), low.val[group], 4), vshlq_n_s32(exact, 8)));
        }
    }
}
