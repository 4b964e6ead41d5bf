;@ long64
;= r f01
;= r 0
;= r 4000
;= r f01
;= r 0
;= r 1
;= r f01
;= r 0
;= r 2
;= r 7
; Single step, a breakpoint on an instruction, a breakpoint on data.
        bits 64
%include "common.inc"
%include "faults64.inc"
%macro STATUS 0
        mov rax, dr6
        and eax, 0xe00f
        REPORT
        xor eax, eax
        mov dr6, rax
%endmacro
        FAULTS64
        mov qword [resume], .one
        mov [resume_rsp], rsp
        push 0x102                              ; TF
        popfq
        nop
        nop
.one:   STATUS
        mov eax, .here
        mov dr0, rax
        mov eax, 0x401 | 0x2
        mov dr7, rax
        mov qword [resume], .two
        nop
.here:  nop
        REPORT 0x99                             ; not reached
.two:   xor eax, eax
        mov dr7, rax
        STATUS
        mov eax, DATA
        mov dr1, rax
        mov eax, 0x400 | 0x8 | (0xd << 20)      ; G1, write, four bytes
        mov dr7, rax
        mov qword [resume], .three
        mov ecx, [DATA]                         ; a read does not count
        mov dword [DATA], 5
        nop
        REPORT 0x98
.three: xor eax, eax
        mov dr7, rax
        STATUS
        REPORT 7
        FINISH
