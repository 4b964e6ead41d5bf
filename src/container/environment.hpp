// The environment of a container's process, and where its program is: read inside the container, from files nobody
// vouches for.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "container/spec/spec.hpp"

namespace nagaya::container {

/// process.env, with HOME from /etc/passwd where it is missing and LISTEN_FDS for `listen_fds` descriptors
/// (sd_listen_fds(3)).
std::vector<std::string> environment_of(const Process& process, int listen_fds);
/// The file that execve gets for args[0]: looked up in PATH of `env` when it has no slash, as execvp does. The error is
/// of the form that callers know ("executable file … not found in $PATH") with ENOENT or EACCES as its code.
Result<std::string> find_program(const std::string& name, const std::vector<std::string>& env);
/// Exit status that tells an error of starting a program: 127 not found, 126 found but not to be run, 125 for other
/// errors.
int start_status(const Error& error);
/// The error of an execve of `program` that failed with `code`.
Error exec_error(const std::string& program, int code);

}  // namespace nagaya::container
