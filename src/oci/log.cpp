#include "oci/log.hpp"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "oci/json_text.hpp"

namespace nagaya::oci {
namespace {

LogTarget target;

void put(int fd, const std::string& line) {
  // One write: lines of several processes do not mix. What cannot be logged is lost.
  if (::write(fd, line.data(), line.size()) < 0) return;
}

void log(const char* level, const std::string& text) {
  if (target.file.empty()) return;
  const int fd = ::open(target.file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return;
  const time_t now = ::time(nullptr);
  tm parts{};
  ::gmtime_r(&now, &parts);
  char stamp[32];
  ::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (target.json) {
    put(fd, "{\"level\":\"" + std::string(level) + "\",\"msg\":" + quoted(text) + ",\"time\":\"" + stamp + "\"}\n");
  } else {
    put(fd, "time=\"" + std::string(stamp) + "\" level=" + level + " msg=" + quoted(text) + "\n");
  }
  ::close(fd);
}

}  // namespace

void set_log(LogTarget wanted) { target = std::move(wanted); }

void log_error(const std::string& text) {
  log("error", text);
  put(2, "nagaya-oci: " + text + "\n");
}

void log_warning(const std::string& text) {
  log("warning", text);
  put(2, "nagaya-oci: warning: " + text + "\n");
}

void log_debug(const std::string& text) {
  if (target.debug) log("debug", text);
}

}  // namespace nagaya::oci
