/* needs: dot_products */
/* Activations in two bytes: each byte has its dot products. */
static void matvec_s16_w8(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const int more = any_more(x, columns);
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4x4_t low = sums_at(acc + row), high = no_sums();
        size_t column = 0;
        for (; column + 16 <= columns; column += 16, w += 256) {
            const signed_bytes v = bytes_of(vld1q_s16(x + column), vld1q_s16(x + column + 8));
            const int8x16x4_t w0 = vld1q_s8_x4(w), w1 = vld1q_s8_x4(w + 64);
            const int8x16x4_t w2 = vld1q_s8_x4(w + 128), w3 = vld1q_s8_x4(w + 192);
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
        for (; column < columns; column += 4, w += 64) {
            const signed_bytes v = four_bytes_of(x + column);
            const int8x16x4_t w0 = vld1q_s8_x4(w);
            DOT_TILE(low, w0, v.low, 0);
            DOT_TILE(high, w0, v.high, 0);
            DOT_TILE(high, w0, v.more, 0);
        }
        for (int group = 0; group < 4; ++group) {
            vst1q_s32(acc + row + 4 * group, vaddq_s32(low.val[group], vshlq_n_s32(high.val[group], 8)));
        }
    }
}
