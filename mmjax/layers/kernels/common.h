// What the kernels share: vectors, tiles of them in registers, and XLA's threads.

#ifndef MMJAX_KERNELS_COMMON_H_
#define MMJAX_KERNELS_COMMON_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace mmjax {

namespace ffi = xla::ffi;
using Index = int64_t;

// A tile of kTile x 2 vectors, the two vectors it is multiplied by and one scalar spread over a
// vector must fit in the registers; what does not would be written to memory at every step.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kTile = 14;
#elif defined(__AVX__)
constexpr int kLanes = 8, kTile = 6;
#elif defined(__aarch64__)
constexpr int kLanes = 4, kTile = 14;
#else
constexpr int kLanes = 4, kTile = 6;
#endif
constexpr Index kBlock = 2 * kLanes;  // columns that one tile covers

typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));

typedef int32_t Integers __attribute__((vector_size(kLanes * sizeof(int32_t))));

inline Vector Load(const float* from) {
  Vector value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline void Store(Vector value, float* to) { std::memcpy(to, &value, sizeof value); }

// The sum, or what else the operation makes, of all entries: halves are combined until one is left.
template <typename Operation>
float Reduce(Vector x, Operation combine) {
  float values[kLanes];
  Store(x, values);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) values[i] = combine(values[i], values[i + half]);
  return values[0];
}

// Zeros that start at a cache line, since a vector across two lines is loaded twice.
class Floats {
 public:
  explicit Floats(Index size) : lines_((size + 15) / 16) {}
  float* data() { return lines_.empty() ? nullptr : lines_[0].values; }

 private:
  struct alignas(64) Line {
    float values[16];
  };
  std::vector<Line> lines_;
};

// The next multiple of kLanes.
inline Index RoundUp(Index size) { return (size + kLanes - 1) / kLanes * kLanes; }

// Calls visit(start, size) for nearly equal parts of at most kTile.
template <typename Visit>
void ForTiles(Index total, Visit visit) {
  Index tiles = (total + kTile - 1) / kTile;
  for (Index tile = 0; tile < tiles; ++tile) {
    Index start = total * tile / tiles;
    visit(start, total * (tile + 1) / tiles - start);
  }
}

// Copies rows [rows, width] that begin so far apart. Whole vectors are worth a loop of their own: a
// call of memcpy for every row takes longer than what it copies.
inline void CopyRows(const float* from, Index from_step, float* to, Index to_step, Index rows,
                     Index width) {
  for (Index r = 0; r < rows; ++r, from += from_step, to += to_step) {
    if (width % kLanes == 0)
      for (Index w = 0; w < width; w += kLanes) Store(Load(from + w), to + w);
    else
      std::memcpy(to, from, width * sizeof(float));
  }
}

// The table of f<1>, ..., f<kTile>, to be chosen from while running.
template <template <int> class Function, int... sizes>
constexpr auto Table(std::integer_sequence<int, sizes...>) {
  return std::array{&Function<sizes + 1>::Run...};
}

template <template <int> class Function>
constexpr auto kTable = Table<Function>(std::make_integer_sequence<int, kTile>());

// ---- Threads ----

// Tasks 0 .. count - 1, handed out one by one to whoever asks.
class Work {
 public:
  using Task = std::function<void(Index task, Index worker)>;

  Work(Index count, Task task) : count_(count), task_(std::move(task)) {}

  // Takes tasks until none is left. A worker that comes too late finds none, and then touches
  // nothing of the caller's, who may have gone by then.
  void Help() {
    Index worker = -1, done = 0;
    for (Index task; (task = next_.fetch_add(1)) < count_; ++done) {
      if (worker < 0) worker = workers_.fetch_add(1);
      task_(task, worker);
    }
    if (done == 0) return;
    std::lock_guard<std::mutex> lock(mutex_);
    done_ += done;
    if (done_ == count_) all_done_.notify_all();
  }

  // To be called after Help(): all tasks have begun, so whoever holds one is running and will end.
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, [this] { return done_ == count_; });
  }

 private:
  const Index count_;
  const Task task_;
  std::atomic<Index> next_{0}, workers_{0};
  std::mutex mutex_;
  std::condition_variable all_done_;
  Index done_ = 0;
};

inline Index NumWorkers(const ffi::ThreadPool& pool, Index tasks) {
  return std::max<Index>(1, std::min<Index>(tasks, pool.num_threads()));
}

// Runs the tasks on this thread and on those of the pool that have time. It never waits for a
// thread to become free: all of them may be waiting inside handlers like this one.
inline void ParallelFor(ffi::ThreadPool& pool, Index tasks, Index workers, Work::Task task) {
  auto work = std::make_shared<Work>(tasks, std::move(task));
  try {
    for (Index helper = 1; helper < workers; ++helper) pool.Schedule([work] { work->Help(); });
  } catch (const std::bad_alloc&) {
    // Those who have been called by now use this frame: it must go on, with fewer helpers.
  }
  work->Help();
  work->Wait();
}

}  // namespace mmjax

#endif  // MMJAX_KERNELS_COMMON_H_
