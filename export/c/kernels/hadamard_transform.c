/* value becomes blockdiag(S, ..., S) value, modulo 2^32, where S is the Sylvester matrix of block entries, a power of two that
   divides size: additions and subtractions alone. Two stages a pass, so that each number is loaded half as often. */
static void hadamard_transform(uint32_t *value, size_t size, size_t block)
{
    size_t half = 1;
    for (; 4 * half <= block; half *= 4) {
        for (size_t first = 0; first < size; first += 4 * half) {
            uint32_t *a = value + first, *b = a + half, *c = b + half, *d = c + half;
            for (size_t n = 0; n < half; ++n) {
                const uint32_t ab = a[n] + b[n], cd = c[n] + d[n];
                const uint32_t a_b = a[n] - b[n], c_d = c[n] - d[n];
                a[n] = ab + cd;
                b[n] = a_b + c_d;
                c[n] = ab - cd;
                d[n] = a_b - c_d;
            }
        }
    }
    if (2 * half > block) {
        return;
    }
    for (size_t first = 0; first < size; first += 2 * half) {
        uint32_t *a = value + first, *b = a + half;
        for (size_t n = 0; n < half; ++n) {
            const uint32_t difference = a[n] - b[n];
            a[n] += b[n];
            b[n] = difference;
        }
    }
}
