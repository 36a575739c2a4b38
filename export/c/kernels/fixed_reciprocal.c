/* needs: fixed_product, clipped */
/* 2 / (1 + x) with 13 fractional bits for x in Q0.15, 0 <= x <= 1: Newton's division, as gemmlowp does it. */
static int32_t fixed_reciprocal(int32_t x)
{
    const int32_t half_denominator = (x + 32768) >> 1;
    int32_t found = 23130 + fixed_product(half_denominator, -15420); /* 48/17 and -32/17 */
    for (int step = 0; step < 3; step++) {
        const int32_t missing = 8192 - fixed_product(half_denominator, found);
        found += clipped(fixed_product(found, missing) * 4, -32768, 32767);
    }
    return found;
}
