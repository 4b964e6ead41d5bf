// Named threads and their placement.
#pragma once
#include <functional>
#include <string>
#include <thread>

#include "base/result.hpp"
#include "host/capabilities.hpp"

namespace nagaya::host {

/// Starts a thread called `name` (15 characters are kept) with all signals blocked apart from those that faults raise,
/// so that process signals reach the main thread only.
[[nodiscard]] std::jthread start_thread(std::string name, std::function<void()> body);
/// Threads that start_thread() starts from now on give up all capabilities but these first; all_capabilities: none.
void keep_in_threads(Capabilities capabilities);
/// Names the calling thread.
void name_this_thread(const std::string& name);
/// Restricts the calling thread to one host CPU.
Result<> pin_this_thread(unsigned cpu);
/// Host CPUs this process may use, at least 1.
[[nodiscard]] unsigned usable_cpus();

}  // namespace nagaya::host
