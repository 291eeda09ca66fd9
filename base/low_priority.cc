#include "base/low_priority.h"

#include <pthread.h>
#include <sys/resource.h>

namespace factord {
namespace {

constexpr int kNice = 10;

void* Run(void* work) {
  // Linux keeps it for each thread. It cannot be taken back, hence the thread.
  (void)setpriority(PRIO_PROCESS, /*who=*/0, kNice);
  (*static_cast<absl::FunctionRef<void()>*>(work))();
  return nullptr;
}

}  // namespace

void AtLowPriority(absl::FunctionRef<void()> work) {
  pthread_t thread;
  if (pthread_create(&thread, /*attr=*/nullptr, Run, &work) != 0) return work();
  pthread_join(thread, nullptr);
}

}  // namespace factord
