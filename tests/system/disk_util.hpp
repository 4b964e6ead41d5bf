// Guests with disks, and what tests do to those disks outside.
#pragma once
#include <cstdint>

#include "runner.hpp"

namespace nagaya::system_test {

/// A Debian kernel with modules for our devices, the programs of tests/programs in /test, and the disk driver loaded. `base`:
/// the RAM disk that they are put behind.
[[nodiscard]] Words disk_run(const std::string& commands, const Words& more, const std::string& base = "initrd-amd64-devices");
/// "--disk path=…,format=…" and what else is said.
[[nodiscard]] std::string disk_option(const std::string& path, const std::string& format, const std::string& more = {});
/// A new image of `bytes`; `options` as for qemu-img's -o, also "backing_file=…".
void make_disk(const std::string& path, const std::string& format, std::uint64_t bytes, const std::string& options = {});

/// One command to a machine's control socket; gives the line of answer, "" when nobody answers.
[[nodiscard]] std::string control(const std::string& socket, const std::string& command);
/// Saves over the control socket into a file at `path`; the answer.
[[nodiscard]] std::string control_save(const std::string& socket, const std::string& path, bool then_exit);
/// Asks for the status until the answer contains `text`.
[[nodiscard]] bool wait_status(const std::string& socket, const std::string& text, double seconds = 60);

/// Runs a program found by PATH; gives its exit code and what it said.
[[nodiscard]] Outcome run_tool(const Words& words);
/// qemu-img's opinion of an image: 0 clean, 3 leaks, else damaged.
[[nodiscard]] int image_check(const std::string& path);
/// The content of an image as a raw file.
[[nodiscard]] std::string raw_copy(const std::string& path, const std::string& format);
/// Whether the blocks of [offset, offset+length) of a raw file hold the pattern.
[[nodiscard]] bool holds_pattern(const std::string& raw, std::uint64_t offset, std::uint64_t length, std::uint64_t seed);

}  // namespace nagaya::system_test
