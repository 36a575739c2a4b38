/* An external delegate of TensorFlow Lite that claims nothing, and tells a file that it was asked.

   Options: log=FILE; refuse=WORDS makes its creation fail with these words, decline=1 its preparation. The struct is that of
   tensorflow/lite/c/common.h, which appends to it only. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Delegate {
  void *data;
  int (*prepare)(void *context, struct Delegate *delegate);
  int (*copy_from_buffer)(void *, struct Delegate *, int, void *);
  int (*copy_to_buffer)(void *, struct Delegate *, int, void *);
  void (*free_buffer)(void *, struct Delegate *, int *);
  int64_t flags;
  void *opaque_delegate_builder;
} Delegate;

typedef struct {
  int decline;
  char log[1024];
} Data;

static int prepare(void *context, Delegate *delegate) {
  const Data *data = delegate->data;
  (void)context;
  if (data->log[0]) {
    FILE *file = fopen(data->log, "a");
    fputs("asked\n", file);
    fclose(file);
  }
  return data->decline;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
  Data *data = calloc(1, sizeof *data);
  Delegate *delegate = calloc(1, sizeof *delegate);
  for (size_t i = 0; i < count; ++i) {
    if (!strcmp(keys[i], "refuse")) {
      report(values[i]);
      free(data);
      free(delegate);
      return NULL;
    }
    if (!strcmp(keys[i], "decline")) data->decline = 1;
    if (!strcmp(keys[i], "log")) strncpy(data->log, values[i], sizeof data->log - 1);
  }
  delegate->data = data;
  delegate->prepare = prepare;
  delegate->flags = 1; /* tensors whose sizes are known late are no obstacle */
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) {
  if (!delegate) return;
  free(delegate->data);
  free(delegate);
}
