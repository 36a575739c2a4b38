/* Does jobs on one kernel each: stands behind the kernels' texts in one source, reads the file "jobs" and writes the file
   "results". */
enum { LARGEST = 1 << 19 };

/* A job's head in the file; three arrays of bytes follow it: weights, activations, and the results' first values. */
typedef struct {
    int32_t kernel, repeats, arguments[6], weight_bytes, x_bytes, result_bytes;
} job;

static uint64_t weight_store[LARGEST / 8], x_store[LARGEST / 8], result_store[LARGEST / 8];

/* Of kernels that ask for memory: as many sums as there can be. */
static int32_t work[LARGEST / 64];

static void done(const job *it)
{
    const uint8_t *weight = (const uint8_t *)weight_store;
    const uint8_t *x = (const uint8_t *)x_store;
    int32_t *acc = (int32_t *)(void *)result_store;
    const int32_t *a = it->arguments;
    switch (it->kernel) {
    /* CASES */
    default:
        break;
    }
}

void emulated(void)
{
    static job it;
    const long jobs = opened("jobs", 4, READ_BYTES), results = opened("results", 7, WRITE_BYTES);
    while (moved(READ, jobs, &it, sizeof it) == 0) {
        moved(READ, jobs, weight_store, it.weight_bytes);
        moved(READ, jobs, x_store, it.x_bytes);
        moved(READ, jobs, result_store, it.result_bytes);
        for (int32_t i = 0; i < it.repeats; i++) {
            done(&it);
        }
        moved(WRITE, results, result_store, it.result_bytes);
    }
}
