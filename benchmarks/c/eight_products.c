/* Four quaternion vectors times a matrix of quaternions by eight real products (docs/fast_product.md has the formula).

   x: four vectors of 4 * part entries, each at most 127, stride apart. weight: the eight left factors in tiles, each of rows by
   part. rest: for each of them, in rows of four vectors, -127 times the sum of a row's weights where the right factor is a
   difference, else 0. sums: 32 * part bytes, products: 32 * rows numbers, both for this function's use. acc: four vectors
   of 4 * rows numbers, to which the result is added. */
static void quaternion4_by_eight(int32_t *restrict acc, const uint8_t *weight, const uint8_t *restrict x, size_t stride,
                                 size_t rows, size_t part, uint8_t *restrict sums, int32_t *restrict products,
                                 const int32_t *restrict rest)
{
    const size_t all = 4 * part, each = 4 * rows;
    for (size_t v = 0; v < 4; ++v) {
        const uint8_t *r = x + v * stride, *i = r + part, *j = i + part, *k = j + part;
        uint8_t *restrict to = sums + v * part;
        /* Differences are made positive by 127, sums are at most 254. One loop each, which compilers vectorise. */
        for (size_t n = 0; n < part; ++n) {
            to[n] = (uint8_t)(r[n] + i[n]);
        }
        for (size_t n = 0; n < part; ++n) {
            to[all + n] = (uint8_t)(j[n] - k[n] + 127);
        }
        for (size_t n = 0; n < part; ++n) {
            to[2 * all + n] = (uint8_t)(j[n] + k[n]);
        }
        for (size_t n = 0; n < part; ++n) {
            to[3 * all + n] = (uint8_t)(r[n] - i[n] + 127);
        }
        for (size_t n = 0; n < part; ++n) {
            to[4 * all + n] = (uint8_t)(i[n] + j[n]);
        }
        for (size_t n = 0; n < part; ++n) {
            to[5 * all + n] = (uint8_t)(i[n] - j[n] + 127);
        }
        for (size_t n = 0; n < part; ++n) {
            to[6 * all + n] = (uint8_t)(r[n] - k[n] + 127);
        }
        for (size_t n = 0; n < part; ++n) {
            to[7 * all + n] = (uint8_t)(r[n] + k[n]);
        }
    }
    memcpy(products, rest, 8 * each * sizeof *products);
    for (size_t n = 0; n < 8; ++n) {
        matvec4_u8_w8(products + n * each, weight + n * rows * part, sums + n * all, part, rows, part);
    }
    for (size_t v = 0; v < 4; ++v) {
        for (size_t n = 0; n < rows; ++n) {
            const int32_t *p = products + v * rows + n;
            const int32_t a = p[0], b = p[each], c = p[2 * each], d = p[3 * each];
            const int32_t e = p[4 * each], f = p[5 * each], g = p[6 * each], h = p[7 * each];
            int32_t *restrict y = acc + 4 * v * rows + n;
            y[0] += b + (g + h - e - f) / 2;
            y[rows] += a - (e + f + g + h) / 2;
            y[2 * rows] += c + (e - f + g - h) / 2;
            y[3 * rows] += d + (e - f - g + h) / 2;
        }
    }
}

void repeat_eight(size_t times, int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t stride, size_t rows,
                  size_t part, uint8_t *sums, int32_t *products, const int32_t *rest)
{
    for (size_t time = 0; time < times; ++time) {
        quaternion4_by_eight(acc, weight, x, stride, rows, part, sums, products, rest);
    }
}

/* The compact kernel, a vector at a time. */
void repeat_compact(size_t times, int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t stride, size_t rows,
                    size_t part)
{
    for (size_t time = 0; time < times; ++time) {
        for (size_t v = 0; v < 4; ++v) {
            quaternion_u8_w8(acc + 4 * v * rows, weight, x + v * stride, rows, part, part);
        }
    }
}
