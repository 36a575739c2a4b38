/* floor((2 sum + steps) / (2 steps)): the mean of so many numbers, half up. */
static int32_t mean_of_steps(int64_t sum, size_t steps)
{
    const int64_t twice = 2 * (int64_t)steps, value = 2 * sum + (int64_t)steps;
    const int64_t quotient = value / twice;
    return (int32_t)(value % twice < 0 ? quotient - 1 : quotient);
}
