/* value / 2^shift to the nearest integer, ties away from zero; shift < 64, |value| < 2^62. */
static int64_t half_away(int64_t value, unsigned shift)
{
    const uint64_t half = ((uint64_t)1 << shift) >> 1;
    const int64_t size = (int64_t)(((value < 0 ? 0 - (uint64_t)value : (uint64_t)value) + half) >> shift);
    return value < 0 ? -size : size;
}
