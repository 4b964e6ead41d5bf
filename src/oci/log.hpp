// Errors and warnings of the command: to standard error for people, and to --log for the engine above, in its format.
#pragma once
#include <string>

namespace nagaya::oci {

struct LogTarget {
  std::string file;  ///< empty: standard error alone
  bool json = false;
  bool debug = false;
};

void set_log(LogTarget target);
void log_error(const std::string& text);
void log_warning(const std::string& text);
void log_debug(const std::string& text);

}  // namespace nagaya::oci
