/* needs: dot_products */
/* 8 columns of each component are loaded once and meet all four parts; a minus is in the codes. */
static void quaternion_u8_w4(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns,
                             size_t part)
{
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4x4_t r = sums_at(acc + row), i = sums_at(acc + rows + row);
        int32x4x4_t j = sums_at(acc + 2 * rows + row), k = sums_at(acc + 3 * rows + row);
        for (size_t column = 0; column < columns; column += 8, w += 256) {
            for (size_t field = 0; field < 2; ++field) {
                const uint8_t *from = x + column + 4 * field;
                const int8x16_t xr = four_less_128(from), xi = four_less_128(from + part);
                const int8x16_t xj = four_less_128(from + 2 * part), xk = four_less_128(from + 3 * part);
                const int8x16_t up = vdupq_n_s8((int8_t)(field == 0 ? 4 : 0));
                for (int group = 0; group < 4; ++group) {
                    const int8_t *at = w + 16 * group;
                    const int8x16_t wr = vshrq_n_s8(vshlq_s8(vld1q_s8(at), up), 4);
                    const int8x16_t wi = vshrq_n_s8(vshlq_s8(vld1q_s8(at + 64), up), 4);
                    const int8x16_t wj = vshrq_n_s8(vshlq_s8(vld1q_s8(at + 128), up), 4);
                    const int8x16_t wk = vshrq_n_s8(vshlq_s8(vld1q_s8(at + 192), up), 4);
                    const int8x16_t ni = vnegq_s8(wi), nj = vnegq_s8(wj), nk = vnegq_s8(wk);
                    r.val[group] = vdotq_s32(vdotq_s32(r.val[group], wr, xr), ni, xi);
                    i.val[group] = vdotq_s32(vdotq_s32(i.val[group], wi, xr), wr, xi);
                    j.val[group] = vdotq_s32(vdotq_s32(j.val[group], wj, xr), wk, xi);
                    k.val[group] = vdotq_s32(vdotq_s32(k.val[group], wk, xr), nj, xi);
                    r.val[group] = vdotq_s32(vdotq_s32(r.val[group], nj, xj), nk, xk);
                    i.val[group] = vdotq_s32(vdotq_s32(i.val[group], nk, xj), wj, xk);
                    j.val[group] = vdotq_s32(vdotq_s32(j.val[group], wr, xj), ni, xk);
                    k.val[group] = vdotq_s32(vdotq_s32(k.val[group], wi, xj), wr, xk);
                }
            }
        }
        put_sums(acc + row, r);
        put_sums(acc + rows + row, i);
        put_sums(acc + 2 * rows + row, j);
        put_sums(acc + 3 * rows + row, k);
    }
}
