/* y += L(w) x of quaternions, modulo 2^32, from those entries of the four components that are not 0:
       y_r += r x_r - i x_i - j x_j - k x_k     y_i += i x_r + r x_i - k x_j + j x_k
       y_j += j x_r + k x_i + r x_j - i x_k     y_k += k x_r - j x_i + i x_j + r x_k
   rows are those of one component; counts, gaps and values are of r, then of i, j and k, each as in a sparse matrix. Part p of
   acc starts at acc + p * rows, part p of x at x + p * part. */
static void sparse_quaternion_s16(int32_t *acc, const uint8_t *gaps, const int8_t *values, const uint16_t *counts,
                                  const int16_t *x, size_t rows, size_t part)
{
    static const int8_t sign[4][4] = {{1, 1, 1, 1}, {1, -1, 1, -1}, {1, -1, -1, 1}, {1, 1, -1, -1}};
    uint32_t *total = (uint32_t *)acc; /* unsigned, since it may wrap */
    for (size_t p = 0; p < 4; p++) {
        for (size_t n = 0; n < rows; n++) {
            const int16_t *v = x;
            uint32_t sums[4] = {0, 0, 0, 0};
            for (size_t left = *counts++; left > 0; left--) {
                const int32_t w = *values++;
                v += *gaps++;
                sums[0] += (uint32_t)(w * v[0]);
                sums[1] += (uint32_t)(w * v[part]);
                sums[2] += (uint32_t)(w * v[2 * part]);
                sums[3] += (uint32_t)(w * v[3 * part]);
                v++;
            }
            for (size_t q = 0; q < 4; q++) {
                /* Component p of the weights times part q of x belongs to part p ^ q of y. */
                total[(p ^ q) * rows + n] += sign[p][q] < 0 ? 0 - sums[q] : sums[q];
            }
        }
    }
}
