// Saving a container that runs, by CRIU: into its own folder, where its next start finds it, or over a stream, with its files.
// docs/design/container-checkpoint.md.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "domain/container_store.hpp"
#include "migrate/stream.hpp"

namespace nagaya::domain {

struct SaveOptions {
  bool leave_running = false;
  bool tcp_established = false;  ///< connections are saved, too; else they are an error
  bool file_locks = false;
  bool lazy = false;             ///< of a move: it runs there at once, and its memory follows
  unsigned rounds = 5;           ///< of a move: the last one included
  std::vector<std::string> layers{};  ///< of a stream: SHA-256 of its image's layers
  std::function<void(const std::string&)> progress;
};

/// Saves it into its folder and ends it (unless it is left running); its next start goes on from there.
[[nodiscard]] Result<> save_container(const ContainerStore& store, const Container& container, const SaveOptions& options);
/// Sends it and what it has written. With nobody to answer (a file) it ends when all is written, unless it is left running; else when the
/// other side has it. Any error before leaves it as it was.
[[nodiscard]] Result<> send_container(const ContainerStore& store, const Container& container, migrate::Stream& stream, const SaveOptions& options);

/// Whether its next start goes on from where it was saved.
[[nodiscard]] bool is_saved(const Container& container);
void forget_saved(const Container& container);

/// How a container's program ended, if a command that saves it was at work.
enum class Taken : u8 { no, saved, sent };
/// For its monitor, when the program has ended. Nothing: a command is still at it, ask again.
[[nodiscard]] std::optional<Taken> taken(const Container& container);

}  // namespace nagaya::domain
