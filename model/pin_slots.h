// Hazard slots: where readers say which root they are reading.
//
//   int slot = slots.Pin(current, &root);   // reader: root stays valid until Unpin
//   slots.Unpin(slot);
//   current.store(next, std::memory_order_seq_cst);
//   slots.ForEachPinned([](const void* root) { ... });  // writer: what may still be read
//
// Why it is safe: the reader writes the root's address into its slot and then looks again whether
// it is still the current one; the writer makes another root current and then looks into the slots;
// all four are sequentially consistent. So if the reader still saw its root as the current one, the
// writer sees the slot. Otherwise the reader tries again, and the writer may have seen an address
// that nobody reads: it only holds something back for a moment.
#pragma once

#include <array>
#include <atomic>
#include <thread>

namespace factord {

// Thread-safe.
template <typename T>
class PinSlots {
 public:
  static constexpr int kSlots = 256;

  // Pins what `current` (a std::atomic<const T*>, or a test's stand-in) points to and returns it in
  // *pinned. Waits while all slots are taken.
  template <typename Current>
  int Pin(const Current& current, const T** pinned) {
    const T* root = current.load(std::memory_order_seq_cst);
    const int slot = Take(root);
    for (;;) {
      const T* const now = current.load(std::memory_order_seq_cst);
      if (now == root) break;
      root = now;
      slots_[slot].root.store(root, std::memory_order_seq_cst);
    }
    *pinned = root;
    return slot;
  }

  void Unpin(int slot) { slots_[slot].root.store(nullptr, std::memory_order_release); }

  // Writer. Calls visit(root) for every slot in use; the same root may come several times.
  template <typename Visit>
  void ForEachPinned(Visit visit) const {
    const int used = used_.load(std::memory_order_seq_cst);
    for (int i = 0; i < used; ++i) {
      const T* const root = slots_[i].root.load(std::memory_order_seq_cst);
      if (root != nullptr) visit(root);
    }
  }

 private:
  // A line of its own: readers on different cores do not disturb each other.
  struct alignas(64) Slot {
    std::atomic<const T*> root{nullptr};
  };

  // Takes a free slot, which then holds `root`.
  int Take(const T* root) {
    for (int tries = 0, i = FirstSlot();; i = (i + 1) % kSlots) {
      NoteUsed(i + 1);
      const T* free = nullptr;
      if (slots_[i].root.compare_exchange_strong(free, root, std::memory_order_seq_cst,
                                                 std::memory_order_relaxed)) {
        return i;
      }
      if (++tries % kSlots == 0) std::this_thread::yield();
    }
  }

  // Threads start at different slots, the first threads at the lowest ones.
  static int FirstSlot() {
    static std::atomic<unsigned> threads{0};
    thread_local const int first =
        static_cast<int>(threads.fetch_add(1, std::memory_order_relaxed) % kSlots);
    return first;
  }

  // Raised before the slot is written, so that a writer who does not see it raised made its root
  // current before the reader looks again.
  void NoteUsed(int used) {
    int known = used_.load(std::memory_order_seq_cst);
    while (known < used && !used_.compare_exchange_weak(known, used, std::memory_order_seq_cst)) {
    }
  }

  std::array<Slot, kSlots> slots_;
  // Slots from here on have never been used: a writer with few readers looks at few lines.
  std::atomic<int> used_{0};
};

}  // namespace factord
