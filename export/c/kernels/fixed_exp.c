/* needs: fixed_product, half_away, clipped */
/* exp(-size / 2^(15 - integer_bits)) in Q0.15, 0 <= size <= 2^15, as gemmlowp computes it: a series around -1/8 for what is
   left of a quarter, and a factor for each bit above. */
static int32_t fixed_exp(int32_t size, unsigned integer_bits)
{
    static const int16_t factors[7] = {25520, 19875, 12055, 4435, 600, 11, 0}; /* exp(-2^k), k from -2 on */
    const int32_t quarter = (int32_t)1 << (13 - integer_bits);
    /* -size = below - left, where -quarter <= below < 0. */
    const int32_t above = size & (quarter - 1);
    const int32_t below = above == 0 ? -quarter : -above;
    const int32_t left = below + size;
    const int32_t x = below * ((int32_t)1 << integer_bits) + 4096;
    const int32_t square = fixed_product(x, x), fourth = fixed_product(square, square);
    const int32_t cube = fixed_product(square, x);
    const int32_t higher = fixed_product((int32_t)half_away(fourth, 2) + cube, 10923); /* 1/3 */
    const int32_t terms = (int32_t)half_away(higher + square, 1);
    int32_t result = clipped(28918 + fixed_product(28918, x + terms), -32768, 32767); /* exp(-1/8) */
    if (size == 0) {
        return 32767;
    }
    if (integer_bits > 5 && size > (int32_t)1 << (20 - integer_bits)) {
        return 0; /* beyond -32 */
    }
    for (unsigned k = 0; k < integer_bits + 2; k++) {
        if (left & (quarter << k)) {
            result = fixed_product(result, factors[k]);
        }
    }
    return result;
}
