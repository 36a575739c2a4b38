/* needs: dot_products */
/* Activations in two bytes, weights 16 times as large: as in matvec_s16_w8 and matvec_u8_w4. */
static void matvec_s16_w4(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const int more = any_more(x, columns);
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4x4_t low = no_sums(), high = no_sums();
        size_t column = 0;
        for (; column + 16 <= columns; column += 16, w += 128) {
            const signed_bytes v = bytes_of(vld1q_s16(x + column), vld1q_s16(x + column + 8));
            const int8x16x4_t first = vld1q_s8_x4(w), second = vld1q_s8_x4(w + 64);
            const int8x16x4_t w0 = lower_codes(first), w1 = upper_codes(first);
            const int8x16x4_t w2 = lower_codes(second), w3 = upper_codes(second);
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
        if (column < columns) {
            const signed_bytes v = bytes_of(vld1q_s16(x + column), vdupq_n_s16(0));
            const int8x16x4_t both = vld1q_s8_x4(w), w0 = lower_codes(both), w1 = upper_codes(both);
            DOT_TILE(low, w0, v.low, 0);
            DOT_TILE(high, w0, v.high, 0);
            DOT_TILE(high, w0, v.more, 0);
            DOT_TILE(low, w1, v.low, 1);
            DOT_TILE(high, w1, v.high, 1);
            DOT_TILE(high, w1, v.more, 1);
            w += 64;
        }
        for (int group = 0; group < 4; ++group) {
            int32_t *to = acc + row + 4 * group;
            const int32x4_t exact = vshrq_n_s32(high.val[group], 4);
            vst1q_s32(to, vaddq_s32(vsraq_n_s32(vld1q_s32(to), low.val[group], 4), vshlq_n_s32(exact, 8)));
        }
    }
}
