// nagaya-server: the program behind `nagaya serve`.
#include "api/http/program.hpp"
#include "api/local/local_backend.hpp"

int main(int argc, char** argv) { return nagaya::api::run_server_program(argc, argv, nagaya::api::local_backend); }
