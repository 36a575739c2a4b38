/* needs: neon_sums */
/* 4 rows at a time, a lane for each of 4 columns and a sum for each row and part; parts p and q meet component p ^ q. */
static void quaternion_s16_w8(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns,
                              size_t part)
{
    for (size_t row = 0; row < rows; row += 4) {
        const int8_t *w = (const int8_t *)weight + row / MODEL_TILE * MODEL_TILE * 4 * columns + row % MODEL_TILE * 4;
        int32x4_t sum[4][4];
        UNROLLED
        for (size_t n = 0; n < 16; ++n) {
            sum[n / 4][n % 4] = vdupq_n_s32(0);
        }
        for (size_t column = 0; column < columns; column += 4, w += 16 * MODEL_TILE) {
            const int8x16_t wr = vld1q_s8(w), wi = vld1q_s8(w + 4 * MODEL_TILE);
            const int8x16_t wj = vld1q_s8(w + 8 * MODEL_TILE), wk = vld1q_s8(w + 12 * MODEL_TILE);
            const int16x8_t r = four_twice(x + column), i = four_twice(x + part + column);
            const int16x8_t j = four_twice(x + 2 * part + column), k = four_twice(x + 3 * part + column);
            const int8x16_t ni = vnegq_s8(wi), nj = vnegq_s8(wj), nk = vnegq_s8(wk);
            plus_wide_products(sum[0], wr, r);
            plus_wide_products(sum[0], ni, i);
            plus_wide_products(sum[0], nj, j);
            plus_wide_products(sum[0], nk, k);
            plus_wide_products(sum[1], wi, r);
            plus_wide_products(sum[1], wr, i);
            plus_wide_products(sum[1], nk, j);
            plus_wide_products(sum[1], wj, k);
            plus_wide_products(sum[2], wj, r);
            plus_wide_products(sum[2], wk, i);
            plus_wide_products(sum[2], wr, j);
            plus_wide_products(sum[2], ni, k);
            plus_wide_products(sum[3], wk, r);
            plus_wide_products(sum[3], nj, i);
            plus_wide_products(sum[3], wi, j);
            plus_wide_products(sum[3], wr, k);
        }
        UNROLLED
        for (size_t p = 0; p < 4; ++p) {
            add_to(acc + p * rows + row, row_sums(sum[p]));
        }
    }
}
