/* needs: dot_products */
/* 4 rows of each component at a time, so that all sums, of low and high bytes, stand in registers. */
#define MEET_PARTS(MEET, lane)                                                                                             \
    do {                                                                                                              \
        const int8x16_t wr = vld1q_s8(w), wi = vld1q_s8(w + 64), wj = vld1q_s8(w + 128), wk = vld1q_s8(w + 192);      \
        const int8x16_t ni = vnegq_s8(wi), nj = vnegq_s8(wj), nk = vnegq_s8(wk);                                      \
        MEET(0, wr, r, lane);                                                                                         \
        MEET(1, wi, r, lane);                                                                                         \
        MEET(2, wj, r, lane);                                                                                         \
        MEET(3, wk, r, lane);                                                                                         \
        MEET(0, ni, i, lane);                                                                                         \
        MEET(1, wr, i, lane);                                                                                         \
        MEET(2, wk, i, lane);                                                                                         \
        MEET(3, nj, i, lane);                                                                                         \
        MEET(0, nj, j, lane);                                                                                         \
        MEET(1, nk, j, lane);                                                                                         \
        MEET(2, wr, j, lane);                                                                                         \
        MEET(3, wi, j, lane);                                                                                         \
        MEET(0, nk, k, lane);                                                                                         \
        MEET(1, wj, k, lane);                                                                                         \
        MEET(2, ni, k, lane);                                                                                         \
        MEET(3, wr, k, lane);                                                                                         \
        w += 256;                                                                                                     \
    } while (0)
#define BYTES(p, weights, x, lane)                           \
    low##p = vdotq_laneq_s32(low##p, weights, x.low, lane);  \
    high##p = vdotq_laneq_s32(high##p, weights, x.high, lane)
#define MORE(p, weights, x, lane) high##p = vdotq_laneq_s32(high##p, weights, x.more, lane)
static void quaternion_s16_w8(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns,
                              size_t part)
{
    int more = 0;
    for (size_t p = 0; p < 4; ++p) {
        more |= any_more(x + p * part, columns);
    }
    for (size_t row = 0; row < rows; row += 4) {
        const int8_t *w = (const int8_t *)weight + row / 16 * columns * 64 + row % 16 * 4;
        int32_t *const to = acc + row;
        int32x4_t low0 = vld1q_s32(to), low1 = vld1q_s32(to + rows);
        int32x4_t low2 = vld1q_s32(to + 2 * rows), low3 = vld1q_s32(to + 3 * rows);
        int32x4_t high0 = vdupq_n_s32(0), high1 = high0, high2 = high0, high3 = high0;
        const int16_t *from = x;
        size_t column = 0;
        for (; column + 16 <= columns; column += 16, from += 16) {
            const int16_t *const xi = from + part, *const xj = xi + part, *const xk = xj + part;
            const signed_bytes r = bytes_of(vld1q_s16(from), vld1q_s16(from + 8));
            const signed_bytes i = bytes_of(vld1q_s16(xi), vld1q_s16(xi + 8));
            const signed_bytes j = bytes_of(vld1q_s16(xj), vld1q_s16(xj + 8));
            const signed_bytes k = bytes_of(vld1q_s16(xk), vld1q_s16(xk + 8));
            MEET_PARTS(BYTES, 0);
            MEET_PARTS(BYTES, 1);
            MEET_PARTS(BYTES, 2);
            MEET_PARTS(BYTES, 3);
        }
        for (; column < columns; column += 4, from += 4) {
            const signed_bytes r = four_bytes_of(from), i = four_bytes_of(from + part);
            const signed_bytes j = four_bytes_of(from + 2 * part), k = four_bytes_of(from + 3 * part);
            MEET_PARTS(BYTES, 0);
        }
        if (more) {
            w -= 64 * columns;
            from = x;
            for (column = 0; column < columns; column += 4, from += 4) {
                const signed_bytes r = four_bytes_of(from), i = four_bytes_of(from + part);
                const signed_bytes j = four_bytes_of(from + 2 * part), k = four_bytes_of(from + 3 * part);
                MEET_PARTS(MORE, 0);
            }
        }
        vst1q_s32(to, vaddq_s32(low0, vshlq_n_s32(high0, 8)));
        vst1q_s32(to + rows, vaddq_s32(low1, vshlq_n_s32(high1, 8)));
        vst1q_s32(to + 2 * rows, vaddq_s32(low2, vshlq_n_s32(high2, 8)));
        vst1q_s32(to + 3 * rows, vaddq_s32(low3, vshlq_n_s32(high3, 8)));
    }
}
#undef MEET_PARTS
#undef BYTES
#undef MORE
