/* count accumulators at another scale, ties to the even neighbour; arguments as of requantize_u8(). */
static void requantize_half_even_u8(uint8_t *y, const int32_t *acc, const int32_t *multiplier, size_t count,
                                    size_t stride01, unsigned shift, int32_t zero_point, int32_t low, int32_t high)
{
    const uint64_t below_half = (((uint64_t)1 << shift) - 1) >> 1;
    for (size_t n = 0; n < count; ++n) {
        /* Above zero, so that the shift is one of unsigned numbers; 2^(62-s) is even. */
        const uint64_t product = (uint64_t)((int64_t)acc[n] * multiplier[n * stride01]) + ((uint64_t)1 << 62);
        const uint64_t odd = shift ? (product >> shift) & 1 : 0;
        const int64_t whole = (int64_t)((product + below_half + odd) >> shift) - (int64_t)((uint64_t)1 << (62 - shift));
        const int64_t moved = whole + zero_point;
        y[n] = (uint8_t)(moved < low ? low : moved > high ? high : moved);
    }
}
