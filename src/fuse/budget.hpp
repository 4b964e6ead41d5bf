// How many descriptors a server may hold: what a guest remembers must not take them all from this process.
#pragma once
#include <atomic>
#include <utility>

#include "base/types.hpp"

namespace nagaya::fuse {

class Budget {
 public:
  /// One descriptor's place, given back at its end.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept : budget_(std::exchange(other.budget_, nullptr)) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(budget_, other.budget_);
      return *this;
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() {
      if (budget_ != nullptr) budget_->left_.fetch_add(1, std::memory_order_relaxed);
    }
    explicit operator bool() const { return budget_ != nullptr; }

   private:
    friend class Budget;
    explicit Place(Budget* budget) : budget_(budget) {}
    Budget* budget_ = nullptr;
  };

  explicit Budget(u64 places) : left_(static_cast<i64>(places)) {}
  /// False when there is none left. Thread-safe.
  [[nodiscard]] Place take() {
    if (left_.fetch_sub(1, std::memory_order_relaxed) > 0) return Place(this);
    left_.fetch_add(1, std::memory_order_relaxed);
    return Place();
  }

 private:
  std::atomic<i64> left_;
};

}  // namespace nagaya::fuse
