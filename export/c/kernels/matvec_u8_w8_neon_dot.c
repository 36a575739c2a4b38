/* needs: dot_products */
static void matvec_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4x4_t sum = sums_at(acc + row);
        size_t column = 0;
        for (; column + 16 <= columns; column += 16, w += 256) {
            const int8x16_t v = less_128(vld1q_u8(x + column));
            const int8x16x4_t w0 = vld1q_s8_x4(w), w1 = vld1q_s8_x4(w + 64);
            const int8x16x4_t w2 = vld1q_s8_x4(w + 128), w3 = vld1q_s8_x4(w + 192);
            DOT_TILE(sum, w0, v, 0);
            DOT_TILE(sum, w1, v, 1);
            DOT_TILE(sum, w2, v, 2);
            DOT_TILE(sum, w3, v, 3);
        }
        for (; column < columns; column += 4, w += 64) {
            const int8x16_t v = four_less_128(x + column);
            const int8x16x4_t w0 = vld1q_s8_x4(w);
            DOT_TILE(sum, w0, v, 0);
        }
        put_sums(acc + row, sum);
    }
}
