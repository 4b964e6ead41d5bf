#include "container/checkpoint/log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>
#include <string_view>

#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::container::criu {
namespace {

constexpr std::size_t tail_bytes = 256 * 1024, quoted_lines = 4, line_limit = 300;

/// "(00.151) Error (criu/files.c:17): what" → "what".
std::string bare(std::string_view line) {
  if (line.starts_with('(')) line.remove_prefix(std::min(line.find(')') + 1, line.size()));
  while (line.starts_with(' ')) line.remove_prefix(1);
  for (const std::string_view kind : {"Error ", "Warn  "}) {
    if (!line.starts_with(kind)) continue;
    line.remove_prefix(kind.size());
    if (const std::size_t colon = line.find("): "); colon != line.npos) line.remove_prefix(colon + 3);
  }
  std::string out;
  for (const char c : line.substr(0, line_limit)) out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  return out;
}

/// CRIU raises its own limit of open files when it may; that it may not is no reason for a failure.
bool matters(std::string_view line) { return line.find("RLIMIT_NOFILE for self") == line.npos; }

struct Knowledge {
  const char *text, *advice;
};
constexpr Knowledge known[] = {
    {"Connected TCP socket", "the container has open TCP connections: give --tcp-established"},
    {"use the --tcp-established", "the container has open TCP connections: give --tcp-established"},
    {"ext-unix-sk", "a Unix socket of it leads out of the container: give --ext-unix-sk"},
    {"--shell-job", "its terminal is the caller's own: give --shell-job"},
    {"consider using --file-locks", "the container holds file locks: give --file-locks"},
    {"Some file locks are hold", "the container holds file locks: give --file-locks"},
    {"dump locks", "the container holds file locks: give --file-locks"},
    {"Can't get 1:16 opt", "this CRIU cannot save TCP sockets on this kernel: 4.2 or newer can (scripts/fetch-criu)"},
    {"Tracking memory is not available", "this kernel does not mark written pages (CONFIG_MEM_SOFT_DIRTY): pre-dumps are not possible"},
    {"Can't get rlimit", "root has no CAP_SYS_RESOURCE here: processes of several users cannot be saved without it"},
    {"Can't lookup mount", "a file it has open lies outside its root: close or redirect it"},
    {"vdso", "CRIU is too old for this kernel: scripts/fetch-criu fetches a newer one"},
};

}  // namespace

std::string complaints(const std::string& path) {
  const host::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return {};
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) return {};
  if (facts.st_size > static_cast<off_t>(tail_bytes)) ::lseek(file.get(), -static_cast<off_t>(tail_bytes), SEEK_END);
  std::string text(tail_bytes, '\0');
  const auto count = host::read_up_to(file.get(), {reinterpret_cast<u8*>(text.data()), text.size()});
  text.resize(count.value_or(0));

  std::deque<std::string> errors, last;
  const auto keep = [](std::deque<std::string>& lines, std::string_view line) {
    lines.push_back(bare(line));
    if (lines.size() > quoted_lines) lines.pop_front();
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    if (line.empty() || !matters(line)) continue;
    keep(last, line);
    if (line.find(" Error (") != line.npos || line.starts_with("Error (")) keep(errors, line);
  }
  std::string out;
  for (const std::string& line : errors.empty() ? last : errors) out += (out.empty() ? "" : "; ") + line;
  return out;
}

std::string advice(const std::string& complaints) {
  for (const Knowledge& item : known) {
    if (complaints.find(item.text) != complaints.npos) return item.advice;
  }
  return {};
}

}  // namespace nagaya::container::criu
