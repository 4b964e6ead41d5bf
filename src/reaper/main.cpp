// nagaya-reaper: the first process of a container that has no init of its own. It starts one program, passes signals on to it, takes
// the ends of orphans, and ends as the program did. Freestanding (no C library), so that a container's share of it is one page or two.
//
//   nagaya-reaper -- PROGRAM [ARGUMENT…]
//
// Source of what process 1 has to do: pid_namespaces(7), credentials(7), ioctl_tty(2).
#include "reaper/system.hpp"

namespace nagaya::reaper {
namespace {

constexpr int cannot_run = 126, not_found = 127;

unsigned long length(const char* text) {
  unsigned long n = 0;
  while (text[n] != 0) ++n;
  return n;
}

void say(const char* text) { (void)call(nr_write, 2, reinterpret_cast<long>(text), static_cast<long>(length(text))); }

const char* path_of(char** environment) {
  for (; *environment != nullptr; ++environment) {
    const char* at = *environment;
    const char* name = "PATH=";
    while (*name != 0 && *at == *name) ++at, ++name;
    if (*name == 0) return at;
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

long execute(const char* path, char** arguments, char** environment) {
  return call(nr_execve, reinterpret_cast<long>(path), reinterpret_cast<long>(arguments), reinterpret_cast<long>(environment));
}

/// As execvp(3): a name without a slash is looked for in PATH; what may not be run is told apart from what is not there.
long execute_in_path(char** arguments, char** environment) {
  const char* name = arguments[0];
  for (const char* at = name; *at != 0; ++at) {
    if (*at == '/') return execute(name, arguments, environment);
  }
  const unsigned long size = length(name);
  long result = -error_no_entry;
  bool refused = false;
  for (const char* folder = path_of(environment);;) {
    const char* end = folder;
    while (*end != 0 && *end != ':') ++end;
    char path[4096];
    const auto room = static_cast<unsigned long>(end - folder);
    if (room + size + 2 <= sizeof path) {
      unsigned long to = 0;
      for (const char* at = folder; at != end; ++at) path[to++] = *at;
      if (to == 0) path[to++] = '.';
      path[to++] = '/';
      for (unsigned long i = 0; i <= size; ++i) path[to++] = name[i];
      result = execute(path, arguments, environment);
      if (result == -error_access) refused = true;
      if (result != -error_no_entry && result != -error_not_folder && result != -error_access) return result;
    }
    if (*end == 0) break;
    folder = end + 1;
  }
  return refused ? -error_access : result;
}

[[noreturn]] void become(char** arguments, char** environment, SignalSet before) {
  // A group of its own in the terminal's foreground: a key's signal reaches it once, and not through us again.
  (void)call(nr_setpgid, 0, 0);
  int group = static_cast<int>(call(nr_getpid));
  (void)call(nr_ioctl, 0, tiocspgrp, reinterpret_cast<long>(&group));
  set_mask(before);
  const long result = execute_in_path(arguments, environment);
  say("nagaya: cannot run '");
  say(arguments[0]);
  say(result == -error_no_entry || result == -error_not_folder ? "': no such program in the image\n"
      : result == -error_access                                 ? "': permission denied\n"
      : result == -error_format                                 ? "': not a program\n"
                                                                : "'\n");
  leave(result == -error_no_entry || result == -error_not_folder ? not_found : cannot_run);
}

/// Takes all ends there are; leaves when the program's is among them.
void reap(long program) {
  for (;;) {
    int status = 0;
    const long pid = call(nr_wait4, -1, reinterpret_cast<long>(&status), no_hang, 0);
    if (pid <= 0) return;
    if (pid == program) leave((status & 0x7f) != 0 ? 128 + (status & 0x7f) : status >> 8 & 0xff);
  }
}

}  // namespace

[[noreturn]] void run(char** arguments, char** environment) asm("nagaya_reaper_run");

void run(char** arguments, char** environment) {
  if (*arguments != nullptr) ++arguments;
  if (*arguments != nullptr && (*arguments)[0] == '-' && (*arguments)[1] == '-' && (*arguments)[2] == 0) ++arguments;
  if (*arguments == nullptr) {
    say("usage: nagaya-reaper -- PROGRAM [ARGUMENT...]\n");
    leave(cannot_run);
  }
  const SignalSet before = set_mask(all_signals);
  const long program = call(nr_clone, signal_child);
  if (program == 0) become(arguments, environment, before);
  if (program < 0) {
    say("nagaya: cannot start a process\n");
    leave(cannot_run);
  }
  for (;;) {
    reap(program);
    const long signal = wait_for_signal(all_signals);
    if (signal > 0 && signal != signal_child) (void)call(nr_kill, program, signal);
  }
}

}  // namespace nagaya::reaper
