/* a = sgn(a) max(|a| + bias, 0), sgn 0 = 0, where |a| + bias fits 32 bits. */
static void modrelu(int32_t *values, const int32_t *bias, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        const int32_t value = values[n];
        const int32_t size = (value < 0 ? -value : value) + bias[n];
        values[n] = size <= 0 || value == 0 ? 0 : value < 0 ? -size : size;
    }
}
