// Messages between the processes of one command: a sequenced-packet socket, a letter and a text each. A closed end is a
// dead peer (or, for the last message of all, an execve that worked: the socket is close-on-exec).
#pragma once
#include <optional>
#include <string>
#include <utility>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

enum class Word : char {
  error = 'E',  ///< of the other side
  pid = 'P',    ///< the number of a process just made
  go = 'G',     ///< go on
  hooks = 'H',  ///< the root is built: time for prestart and createRuntime hooks
  ready = 'R',  ///< only the start is missing
};

struct Message {
  Word word{};
  std::string text;
};

/// Both ends, close-on-exec.
Result<std::pair<host::Fd, host::Fd>> channel();
Result<> send(int socket, Word word, std::string_view text = {});
void send_error(int socket, const Error& error);
/// The next message; an `error` message becomes the Error itself; none when the other side has closed.
Result<std::optional<Message>> receive(int socket);
/// The next message, which must be `word`.
Result<std::string> expect(int socket, Word word, const char* who);

/// A descriptor beside `text` (SCM_RIGHTS).
Result<> send_fd(int socket, int fd, std::string_view text);
Result<host::Fd> receive_fd(int socket);

}  // namespace nagaya::container
