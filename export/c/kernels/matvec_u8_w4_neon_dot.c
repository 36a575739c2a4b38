/* needs: dot_products */
/* A code stands in the upper half of a byte, where its sign is the byte's: the sums are 16 times as large, and right while
   columns are fewer than 131,072. */
static void matvec_u8_w4(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4x4_t sum = no_sums();
        size_t column = 0;
        for (; column + 16 <= columns; column += 16, w += 128) {
            const int8x16_t v = less_128(vld1q_u8(x + column));
            const int8x16x4_t first = vld1q_s8_x4(w), second = vld1q_s8_x4(w + 64);
            const int8x16x4_t w0 = lower_codes(first), w1 = upper_codes(first);
            const int8x16x4_t w2 = lower_codes(second), w3 = upper_codes(second);
            DOT_TILE(sum, w0, v, 0);
            DOT_TILE(sum, w1, v, 1);
            DOT_TILE(sum, w2, v, 2);
            DOT_TILE(sum, w3, v, 3);
        }
        if (column < columns) {
            const int8x16_t v = less_128(vcombine_u8(vld1_u8(x + column), vdup_n_u8(0)));
            const int8x16x4_t both = vld1q_s8_x4(w), w0 = lower_codes(both), w1 = upper_codes(both);
            DOT_TILE(sum, w0, v, 0);
            DOT_TILE(sum, w1, v, 1);
            w += 64;
        }
        for (int group = 0; group < 4; ++group) {
            int32_t *to = acc + row + 4 * group;
            vst1q_s32(to, vsraq_n_s32(vld1q_s32(to), sum.val[group], 4));
        }
    }
}
