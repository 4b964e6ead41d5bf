;@ long64 end=shutdown
;= r 1
; No interrupt table: the first exception becomes the third.
        bits 64
%include "common.inc"
        REPORT 1
        lidt [none]
        ud2
        REPORT 2
        FINISH
none:   dw 0
        dq 0
