"""Parquet and Arrow: small tables that pyarrow 26 wrote, packed into text, and the same with something changed.

pyarrow is too large to be among the packages for tests. The tables have numbers, texts, a dictionary and lists; those
whose type is a pickle have one that runs `COMMAND`, and pyarrow 13 ran it when it read the schema.
"""

from __future__ import annotations

import base64
import struct
import zlib

from sample_set import Sample, written


def _unpacked(*parts: str) -> bytes:
    return zlib.decompress(base64.b85decode("".join(parts)))


PARQUET = _unpacked(
    "c-oaz&2G~`5FW3M@gaw{>RPrGRZ&H)BJ~%Mszv264ha-eNQ0`j$HcPIMrm4-7Plx8R}MS^M-",
    "Ci#6mDD*Pr#7}U}n8eLR&zrHv2R4%{SldB&lJ2Ra$aFPE=`wDF6ci1brmPDLJ(uZF1Vu&U+SHJ&XOWm>;`MPU;ZTG)zG>GjgU%F&SHfea#3`(r",
    "Gz8B3*-d(Tuzig>4A)4iE>y#uZ)ga(Pt~g&UWiaWNL2Dp-*#;|f5#d6;@9u30&|Af2o}C-",
    "Znt7DIL3U>((KvD17Dsb+sr1kdhAhw*VkIv~ZI@Qg0V9Pj-(sOCAXx<&d{q;p3KX;(M-W_ecUsDCB}u@UTc+=-",
    "9l?iskYpZBW)<fZV7U{CnOE6M79FlYw%1LyDU@fY|hnHH#80h@PiKM)o<nKPGh_7&$lgJ$sE2tFF){kg_LqKF0Tt1OXX8MuSsn+QIO@h1I?!%8",
    "{UjgESUtbQVN+#d$b;HMdUGXJkv*NYEq;a8}GoYsAR%e4cCHt_Ra4(s(7dk@kcdSA?C9;+B4;tr<c8DfHA3oD2%EVYy^BtV%Ddo{u*3aaiKyi^",
    "$!CJM+)=?#I_8M0kb#?}z8vV=H<HhHPE3BR$+Qk4Br`45Jmbg1~oe!bIF>BB9JN8HuSl&6IF7%{>}>b|3svUgXZp5stz`FHBDt)wGv>AYLR{7>",
    "7u9!jc6xW46sOmA4fQLj2iiI%4Gm6h5SOMSxcoH@0QQu)vN&b7X66`!Q~)Oe}Zhu{@X8@*TO@!4W@db-%?^-",
    "hw)>$ulHI_Vbftu3uAt@`|<98UO3-=`Y=LH+`6e$o8",
)
PARQUET_PICKLED = _unpacked(
    "c-nnZOK;jh5MDc$l|v5%X^}1Yz@=6zB`FXbg{qga!RApyfMUQmzhXDo*d>5PeoKE$e_D5Km-",
    "f`rddK_C%r_6s6U>^J!xdclN))Oh#2|!N@?nIlxO$x%dCW@!M^S;J_8R)|&+F={4B;5&g2kM8tssGabwfY4F^e$!o)s7y)i_ZSB^gPW6&1u+L;",
    "_-",
    "h)_yYN$Zh%Z|2afj3!;RGl*FPhA9+zm9CalOoP0?X5+&gs%x072=OVxG>*5oYMxX+~6bcyuWS|D10|cN2Ii?baG5yg1208Fo6Y0@wUB=I8F!3`",
    "0T<DfgI>if7A*89go09JjNg>o^^v<T|GpH?Ssq^z2lsxI3dURV+TiZS=?%gbMrfD{YBr#+2#Wo%SH`Wh>ZaZ+|;nrK~CrfMY*Q?>qS`9{Sw>R?",
    "oaMGe-HqMd*<umej^!Z}bSxsWI?HT5Q@E@I*bZ@O@p=Icebup<yKBrvgL)x5MQC)h4?sj<ePD<vRoyhN#+P06W(^8(jew0~LSmd3U!}+(SdvC4",
    "6hP71Q>}BULiIvb<=4LvCG38gYV&3J1&w_+{YVUp={QZrarZ@I(mt^&$zkB_jZ0oK2+s18Elq9kSZ)9Db$UgrDv2v!m",
)
PARQUET_TYPE = _unpacked(
    "c-",
    "nnZ!A^rf5FL;Z4<2fhZCJyh7l|fSsg@=hFVosutJR9O*xrB=Frs3$Ht}2hI6uXmLa8TTV26Eg=FPy;N4v@tR$zrI5ugYl0e~!S2CT@6m4&D>Ro",
    "4_^HHGvN?EKknZe}HlB(2Fz;S~!s_1%wxXP3#q<ZW4#Tqr4A=ehwpleq<IfeVrew)8ED%cvRa|M%cD3y>j*kz_dCRk;BQr3wedSQi1fu5F-g-",
    "#8~}f9*#;Ak49Wh_{&H5>XH#wh=>Yh6}DC5_<H|M7&rKt0>T-",
    "Wt7$5QL)H7NA&S5OKKCJqJa^$YWkVq(j)~*=dE0_bMmZ5qqg#Wss~3VQa>7T5O@2-uOtpScI>@eC*EPL?m0tq<k-",
    "<9^`xR6)i2+pz4GhO;ypagCY^XbzQw^p8FugPtA2g_5Se4g`f{D)+0C;RdCuUEUx<x)>X&_i9H5mGcltI9KKA@1*>k7U*LnFfn7%*0zLXE^`{s",
    "U?>$*6mEpeQE@xT27m~e!m",
)
ARROW = _unpacked(
    "c-rk$u}%Xq40YPO_Ea+5a6&gQFm_-l5+88g7%EX!NbLwzNJRpK1Oxm@KY@{vkKh9s_zd>)>^S9Wt^>>j87Hyx-",
    "m}x(a56cW9uloE#*Qc_9zF8Zp_DSrFkC_j+zdJF**;;fusdBJAcjO=U|#AT-",
    "~^BTwVpo>d9A#bN9wO0E^l~#EIH&VIbT9Whq_RdQ=$4?$~;G~y&4Ad%wZY+csJA7Qt|fj?*sGqpdqyy`24-",
    "BL%qxwxp}4BqTTY|3a^KCg*WnXU!UO%&Gndt&U!(mRzk67BpAK5_IMX1G82uAbiYO4qfOg~SD&k|pL1s2wEy@NJl8RE^*VMp>u4uZ!(xrHsryY",
    "e)V1yy&QSlR?$T&0O+9_ngMrB(7`)2FD}y&S@o|HWw8rPQ+`(VhO?Ton&USt=|IxFiJZJ7Z;;+J6kb1*!F_V|&^%ah^r}6#v72r$(7ltqHzclp",
    "e|9kQK@5K_qp?s6S06pnxM*",
)
STREAM = _unpacked(
    "c-oy)F-`+95L{n;$tk$F;)GmKP*PB&-",
    "~m@sP+UQg79u2&03ksEKj8^Hfk*HF3Z6l4X6<$GEtdvIo89%UXJ&0(2q6rHs3l%Yax|x!8bnyel7(BNhdtXj>>c(X`7vr}bRA+Zdw`30>~H1#d",
    "Frd$qL0MiJYC&!d>VVm^zpohia9NysHINynVNY{U<U;T^K4)Ze!SaA?N#s&@%M%JGij)`20s57^E5B>Wp2)dJ8IXw_mS7Z7LhmefhxSgchc(+r",
    "JHpTl`2d5&M0Cmx7zbtcywB+oXLJgziURjmlNNLFV7j3PwhXyB+qlKO*zN@c#fHkGhA;`#=1X5L#cI7ai;mly1mlo)jUV)4pypvrSN)H?-",
    "kyl>cfPNy5KWA-r&Fa)SDQovt3+n{@mGApHc6f@k9C+=m!=AJ?{",
)
FEATHER = _unpacked(
    "c-rk%y-",
    "EW?5T3oiMBU=lD^5^}pkN`0V3E>v7J?E4EiVQOK_#HYS^5_D0zQIZY3U<aSftDY*ow}~%_WnK2GToWGCMo7^L?|s*|gg2<Fh@0Z<G@Q5Ch3PSc",
    "o8mI*w3G00EkF%pptqiTZ-t6MqL|m}nCmr!t4-",
    "xE|SSS$|sQd9lg^u~+w(H#9!v954sGK1CK0)R0jOiSRQa;q0TXsv3mTMXlq9X6q6wq+SERK5+bAatK`xwEm9$vR}fhu*nl_=I-",
    "L&GOk6fF>ZxN`}&GDkz9+2<<45J3SPh*nlKX0Kjt;-",
    "XoKOJ40Thud!Qv^{7CS9_*>S*HpDKgn3<>xC0CT~=iRS{?Mx(kI_@n3<PYpq|2;FMe?Q>89E@R&_uE(f`cwK{P?06Esnc)M>8tWL#AaeEzPXd1",
    "JM{`DUO4q$op|MMsku<~WyHE?H>+>-d6>Cj!o)c`haKy9{5UG+kAwI+&tC!PTy&@2lNsx$Ixl^~gE2_6O7I}-o6N}lg5mEZ;Tu6Og_T$3h-",
    "#?!D3e}u;WTjeER*@SU+&BQ`#1ahS75Nk|1m$0R*0G",
)
ARROW_PICKLED = _unpacked(
    "c-rk!u};J=40TI6qNqcKD!8!&!!4XBEO0_dx3M900Jc-Oi{ONsMrjaNi4S08;1l@|a8eg4)PWDck{vtpv!9*Ji{k1g2lzy}3;+^v!XbtcYy(3N",
    "C5SKvj2PO8EMB9Ief}<<3=um%FM$+qJTOeret2wGyTu9A5cP#>y}SP8pP?>wRj)U^ZfYw_u8;WSS}q@|%m|fTWa{qzNto4PDa@lZT<6^CV_xVJ",
    "J|#|bH`h#VtW@>7QnON8u@cs`MJ}<Q!f`sFp8JlIG1c=_H;ZrB!Zun$I#5rEQg*c%&dq4FjAnHEe8n@RIEFpiXzX_cTao8UIKT5T@p3yqr+tO+",
    "BYpq3u$~_b<aT$C7f|gO*^NA-q~(O&Pti_#?|U1x__u*R@c$?N{3mok`S}-_eSEz",
)
STREAM_PICKLED = _unpacked(
    "c-n1H%}T>S5T3-S%aTKppgrc`!HdP8lSKq?y$Lz!v8?T)MUpI=6&vsYd;lNO_gKGOCt9Qf^UHiQ-",
    ";DR(&k~{$1(B4~9_^Aq1W7XFgiOF@Y*B`eWB&oX0AfG(ji^8+0@DKaD`JP)KR5+Vq3=BFGwkR13c4_Dw_3}t@0_lsIg=;%dhy(rRyE~K**reID",
    "!V+bm3`4xnse#Qg{;h_oG_=`s=9la>b28Nw`!Ydt({sb7uJGH9<K<Tj(O)%;ACz4HZlGD7dCgj(Nt`i*Qi<#vjpxId|Jsj;vD}0UvQq&A%8TFK",
    "cby1@?>26`IvcypI`I8Qu>q4_`isaIN8!W)B>-Ne*?)#LaY",
)


def changed(data: bytes, before: bytes, after: bytes, times: int = 1) -> bytes:
    assert before in data
    return data.replace(before, after, times)


def word(data: bytes, at: int, value: int, code: str = "<i") -> bytes:
    out = bytearray(data)
    struct.pack_into(code, out, at, value)
    return bytes(out)


def offsets(data: bytes) -> int:
    """Where the offsets of the texts `a`, `bc` and nothing lie."""
    return data.index(struct.pack("<4i", 0, 1, 3, 3))


def sample(name: str, format: str, data: bytes, verdict: str, rule: str, trick: str) -> Sample:
    place = f"t.{'parquet' if format == 'parquet' else 'arrow'}"
    return Sample(f"{format}/{name}", format, written(place, lambda: data), (verdict,), rule=rule, trick=trick)


SAMPLES = (
    Sample("parquet/honest", "parquet", written("t.parquet", lambda: PARQUET), ("safe",), honest=True),
    sample(
        "pickled-type",
        "parquet",
        PARQUET_PICKLED,
        "danger",
        "parquet.pickled-type",
        "A type whose description is a pickle (CVE-2023-47248).",
    ),
    sample("own-type", "parquet", PARQUET_TYPE, "review", "parquet.extension", "A type that only some program knows."),
    sample(
        "cut-off",
        "parquet",
        PARQUET[:-9] + PARQUET[-8:],
        "unverifiable",
        "parquet.malformed",
        "The description at the end is cut off.",
    ),
    sample(
        "footer-lies",
        "parquet",
        word(PARQUET, len(PARQUET) - 8, 0x7FFFFFF0),
        "unverifiable",
        "parquet.malformed",
        "The description says a length that leads out of the file.",
    ),
    sample(
        "encrypted",
        "parquet",
        b"PARE" + PARQUET[4:-4] + b"PARE",
        "unverifiable",
        "parquet.encrypted",
        "Nothing of an encrypted file is seen.",
    ),
    Sample("arrow/file", "arrow", written("t.arrow", lambda: ARROW), ("safe",), honest=True),
    Sample("arrow/stream", "arrow", written("t.arrows", lambda: STREAM), ("safe",), honest=True),
    Sample("arrow/feather", "arrow", written("t.feather", lambda: FEATHER), ("safe",), honest=True),
    sample(
        "pickled-type",
        "arrow",
        ARROW_PICKLED,
        "danger",
        "arrow.pickled-type",
        "A type whose description is a pickle (CVE-2023-47248).",
    ),
    sample(
        "pickled-in-a-stream",
        "arrow",
        STREAM_PICKLED,
        "danger",
        "arrow.pickled-type",
        "The same in a stream, which has no mark at its start.",
    ),
    sample(
        "offset-outside",
        "arrow",
        word(ARROW, offsets(ARROW) + 12, 0x7FFFFF),
        "unverifiable",
        "arrow.malformed",
        "A text ends far behind its buffer: whoever reads it reads other memory.",
    ),
    sample(
        "offset-backwards",
        "arrow",
        word(STREAM, offsets(STREAM) + 4, 9),
        "unverifiable",
        "arrow.malformed",
        "A text ends before it starts.",
    ),
    sample(
        "index-outside",
        "arrow",
        changed(STREAM, struct.pack("<3i", 0, 1, 0) + bytes(4), struct.pack("<3i", 0, 77, 0) + bytes(4)),
        "unverifiable",
        "arrow.malformed",
        "A value leads out of the dictionary of its column.",
    ),
    sample("behind", "arrow", STREAM + b"more", "unverifiable", "arrow.malformed", "Something follows the end."),
)
