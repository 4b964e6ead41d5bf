#include "net/tool.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "host/fd.hpp"
#include "host/process.hpp"

namespace nagaya::net {
namespace {

constexpr u64 longest_answer = 1 * MiB;

/// Users' PATH often lacks the folders where such programs live.
std::string find_tool(const std::string& program) {
  const char* const path = std::getenv("PATH");
  std::string places = path != nullptr ? path : "";
  places += ":/usr/sbin:/sbin:/usr/bin:/bin";
  for (std::size_t at = 0; at <= places.size();) {
    const std::size_t end = std::min(places.find(':', at), places.size());
    const std::string file = places.substr(at, end - at) + "/" + program;
    if (file[0] == '/' && ::access(file.c_str(), X_OK) == 0) return file;
    at = end + 1;
  }
  return {};
}

const char* package_of(const std::string& program) {
  if (program == "ip") return "apt install iproute2";
  if (program == "nft") return "apt install nftables";
  if (program == "dnsmasq") return "apt install dnsmasq-base";
  return "";
}

}  // namespace

bool have_tool(const std::string& program) { return !find_tool(program).empty(); }

Result<std::string> run_tool(const std::string& program, const std::vector<std::string>& args, const std::string& input) {
  const std::string path = find_tool(program);
  if (path.empty()) return fail(fmt::format("cannot find the program '{}'", program), "it is not installed", package_of(program));
  // Both streams go to files: neither can fill up while we wait for the other.
  TRY_ASSIGN(const host::Fd in, host::Fd::memfd("input", 0));
  TRY(host::write_all(in.get(), input));
  ::lseek(in.get(), 0, SEEK_SET);
  TRY_ASSIGN(const host::Fd out, host::Fd::memfd("output", 0));
  TRY_ASSIGN(const host::Fd complaints, host::Fd::memfd("errors", 0));
  TRY_ASSIGN(host::Process child, host::Process::spawn({.program = path, .args = args, .fds = {{in.get(), 0}, {out.get(), 1}, {complaints.get(), 2}}}));
  TRY_ASSIGN(const host::ExitStatus status, child.wait());
  const auto text_of = [](const host::Fd& file) -> Result<std::string> {
    ::lseek(file.get(), 0, SEEK_SET);
    TRY_ASSIGN(const auto bytes, host::read_all(file.get(), longest_answer, "a program's output"));
    return std::string(bytes.begin(), bytes.end());
  };
  if (status.shell_status() == 0) return text_of(out);
  std::string said = text_of(complaints).value_or("");
  if (const std::size_t line = said.find('\n'); line != std::string::npos) said.resize(line);
  std::string command = program;
  for (const std::string& arg : args) command += " " + arg;
  return fail(fmt::format("'{}' failed", command), said.empty() ? fmt::format("status {}", status.shell_status()) : said);
}

}  // namespace nagaya::net
