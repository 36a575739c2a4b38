#include <immintrin.h>
/* vpmaddubsw of each field's bit: the 16 products of a 16-bit sum reach 4080 together and never saturate. The product
   is the sum of all x less twice the sum at set bits. */
static void matvec_u8_w1(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const __m256i field = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
    __m256i total = _mm256_setzero_si256();
    for (size_t column = 0; column < columns; ++column) {
        total = _mm256_add_epi32(total, _mm256_set1_epi32(x[column]));
    }
    const uint8_t *w = weight;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0;
        for (size_t column = 0; column < columns; column += 32, w += 64) {
            int32_t words[8];
            memcpy(words, x + column, sizeof words);
            __m256i codes0 = _mm256_loadu_si256((const __m256i *)w);
            __m256i codes1 = _mm256_loadu_si256((const __m256i *)(w + 32));
            __m256i part0 = _mm256_setzero_si256(), part1 = part0;
            for (size_t place = 0; place < 8; ++place) {
                const __m256i entries = _mm256_set1_epi32(words[place]);
                const __m256i c0 = _mm256_and_si256(codes0, field);
                part0 = _mm256_add_epi16(part0, _mm256_maddubs_epi16(entries, c0));
                codes0 = _mm256_srli_epi16(codes0, 1);
                const __m256i c1 = _mm256_and_si256(codes1, field);
                part1 = _mm256_add_epi16(part1, _mm256_maddubs_epi16(entries, c1));
                codes1 = _mm256_srli_epi16(codes1, 1);
            }
            sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(part0, ones));
            sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(part1, ones));
        }
        int32_t *y = acc + row;
        sum0 = _mm256_sub_epi32(total, _mm256_slli_epi32(sum0, 1));
        _mm256_storeu_si256((__m256i *)y, _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)y), sum0));
        sum1 = _mm256_sub_epi32(total, _mm256_slli_epi32(sum1, 1));
        _mm256_storeu_si256((__m256i *)(y + 8), _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 8)), sum1));
    }
}
