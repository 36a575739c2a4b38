/* needs: dot_products */
static void matvec4_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t stride, size_t rows,
                          size_t columns)
{
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4x4_t sum0 = sums_at(acc + row), sum1 = sums_at(acc + rows + row);
        int32x4x4_t sum2 = sums_at(acc + 2 * rows + row), sum3 = sums_at(acc + 3 * rows + row);
        const uint8_t *from = x;
        size_t column = 0;
        for (; column + 8 <= columns; column += 8, from += 8, w += 128) {
            /* Vectors 0 and 1 side by side, 2 and 3: with 8 activations of each, both blocks of weights stand in registers. */
            const int8x16_t v01 = less_128(vcombine_u8(vld1_u8(from), vld1_u8(from + stride)));
            const int8x16_t v23 = less_128(vcombine_u8(vld1_u8(from + 2 * stride), vld1_u8(from + 3 * stride)));
            const int8x16x4_t w0 = tile_at(w), w1 = tile_at(w + 64);
            DOT_TILE(sum0, w0, v01, 0);
            DOT_TILE(sum1, w0, v01, 2);
            DOT_TILE(sum2, w0, v23, 0);
            DOT_TILE(sum3, w0, v23, 2);
            DOT_TILE(sum0, w1, v01, 1);
            DOT_TILE(sum1, w1, v01, 3);
            DOT_TILE(sum2, w1, v23, 1);
            DOT_TILE(sum3, w1, v23, 3);
        }
        if (column < columns) {
            const int8x16x4_t w0 = tile_at(w);
            const int8x16_t v0 = four_less_128(from), v1 = four_less_128(from + stride);
            const int8x16_t v2 = four_less_128(from + 2 * stride), v3 = four_less_128(from + 3 * stride);
            DOT_TILE(sum0, w0, v0, 0);
            DOT_TILE(sum1, w0, v1, 0);
            DOT_TILE(sum2, w0, v2, 0);
            DOT_TILE(sum3, w0, v3, 0);
            w += 64;
        }
        put_sums(acc + row, sum0);
        put_sums(acc + rows + row, sum1);
        put_sums(acc + 2 * rows + row, sum2);
        put_sums(acc + 3 * rows + row, sum3);
    }
}
