/* y += L(w) x of quaternions, modulo 2^32, from the four components of the weights without the real matrix:
       y_r += r x_r - i x_i - j x_j - k x_k     y_i += i x_r + r x_i - k x_j + j x_k
       y_j += j x_r + k x_i + r x_j - i x_k     y_k += k x_r - j x_i + i x_j + r x_k
   rows and columns are those of one component, multiples of MODEL_TILE and of 4. Part p of acc starts at acc + p * rows,
   part p of x at x + p * part, its entries less MODEL_OFFSET.
   Weights: per tile and block of 4 columns one of r, i, j and k. */
static void quaternion_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns,
                             size_t part)
{
    static const int8_t sign[4][4] = {{1, 1, 1, 1}, {1, -1, 1, -1}, {1, -1, -1, 1}, {1, 1, -1, -1}};
    const int8_t *w = (const int8_t *)weight;
    uint32_t *sum = (uint32_t *)acc; /* unsigned, since it may wrap */
    for (size_t first = 0; first < rows; first += MODEL_TILE) {
        for (size_t column = 0; column < columns; column += 4) {
            for (size_t p = 0; p < 4; ++p, w += 4 * MODEL_TILE) {
                for (size_t q = 0; q < 4; ++q) {
                    /* Component p of the weights times part q of x belongs to part p ^ q of y. */
                    const uint8_t *v = x + q * part + column;
                    const int32_t x0 = sign[p][q] * (v[0] - MODEL_OFFSET), x1 = sign[p][q] * (v[1] - MODEL_OFFSET);
                    const int32_t x2 = sign[p][q] * (v[2] - MODEL_OFFSET), x3 = sign[p][q] * (v[3] - MODEL_OFFSET);
                    uint32_t *to = sum + (p ^ q) * rows + first;
                    for (size_t n = 0; n < MODEL_TILE; ++n) {
                        const int8_t *row = w + 4 * n;
                        to[n] += (uint32_t)(row[0] * x0 + row[1] * x1 + row[2] * x2 + row[3] * x3);
                    }
                }
            }
        }
    }
}
