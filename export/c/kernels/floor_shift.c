/* floor(value / 2^shift), shift < 64. C99 leaves the right shift of a negative number to the compiler; this form does
   not use it, and compilers make one arithmetic shift of it. */
static int64_t floor_shift(int64_t value, unsigned shift)
{
    return value < 0 ? ~(~value >> shift) : value >> shift;
}
