"""Gene sets and expression of a simulated cohort: which sets follow which hidden factor, and how strongly."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SHARED_SETS = {
    "DEMO_E2F_TARGETS": "MCM2 MCM3 MCM4 MCM5 MCM6 MCM7 PCNA RRM1 RRM2 TK1 TYMS DHFR E2F1 CDC6 CDT1 GINS2 RFC4 POLA1",
    "DEMO_G2M_CHECKPOINT": "CCNB1 CCNB2 CDC20 CDK1 PLK1 AURKA AURKB BUB1 BUB1B TTK MKI67 TOP2A KIF11 KIF20A CENPE NEK2",
    "DEMO_MYC_TARGETS": "NCL NPM1 NOP56 NOP16 FBL RRP9 RRP12 WDR43 WDR74 PPAN GNL3 MYC ODC1 LDHA HSPD1 HSPE1 CAD SRM",
}
GENOMICS_SETS = {
    "DEMO_HYPOXIA": "CA9 VEGFA ADM NDRG1 ANKRD37 BNIP3 BNIP3L EGLN3 P4HA1 P4HA2 KDM3A ERO1A ANGPTL4 PDK1 AK4 SLC2A1",
    "DEMO_GLYCOLYSIS": "HK1 HK2 GPI PFKP PFKL ALDOA TPI1 GAPDH PGK1 PGAM1 ENO1 ENO2 PKM SLC2A1 SLC16A3 PDK1 PFKFB3",
    "DEMO_UNFOLDED_PROTEIN": "HSPA5 HSP90B1 DNAJB9 DNAJC3 PDIA4 PDIA6 CALR XBP1 ATF4 DDIT3 HERPUD1 SEL1L EDEM1 SDF2L1",
}
NOISE_SETS = {
    "DEMO_INTERFERON": "IFIT1 IFIT2 IFIT3 ISG15 MX1 MX2 OAS1 OAS2 OAS3 STAT1 IRF7 IFI44 IFI44L RSAD2 USP18 DDX58",
    "DEMO_INFLAMMATION": "IL6 IL1B CXCL8 CXCL1 CXCL2 CCL2 CCL20 TNFAIP3 NFKBIA ICAM1 PTGS2 IL1A SELE LIF CSF3 BIRC3",
    "DEMO_MYOGENESIS": "ACTA1 MYH1 MYH2 MYH7 TNNT1 TNNT3 TNNC2 MYL1 MYLPF DES CKM TTN NEB ACTN2 MB CASQ1",
    "DEMO_ADIPOGENESIS": "ADIPOQ LEP FABP4 PLIN1 PLIN4 LPL CIDEC CIDEA CFD PPARG RETN LIPE GPD1 AQP7 THRSP ACACB",
    "DEMO_COAGULATION": "F2 F5 F7 F9 F10 FGA FGB FGG SERPINC1 PROC PROS1 PLG KLKB1 A2M APOA1 C9",
    "DEMO_KERATINISATION": "KRT1 KRT5 KRT6A KRT10 KRT14 KRT16 LOR FLG IVL SPRR1A SPRR1B SPRR2A DSG3 DSC3 TGM1 CSTA",
    "DEMO_BILE_ACIDS": "CYP7A1 CYP8B1 CYP27A1 BAAT SLC10A1 SLC27A5 ABCB11 ABCD3 AKR1D1 HSD3B7 AMACR ACOX2",
    "DEMO_NEURONAL": "SYP SYT1 SNAP25 GAP43 STMN2 NEFL NEFM NEFH CHGA CHGB ENO2 UCHL1 DCX MAPT GRIA2 GABRA1",
}
TOO_SMALL_SETS = {"DEMO_TWO_GENES": "TP53 KRAS"}


def gene_sets() -> dict[str, list[str]]:
    """Names and genes of all sets; a few genes sit in two of them."""
    return {name: genes.split() for name, genes in _all_sets().items()}


def write_gmt(sets: dict[str, list[str]]) -> str:
    """The sets as GMT: name, description, genes; one set per line."""
    lines = ["\t".join([name, "simulated demo cohort", *genes]) for name, genes in sets.items()]
    return "\n".join(lines) + "\n"


def make_expression(
    rng: np.random.Generator,
    *,
    shared: NDArray[np.float64],
    genomics: NDArray[np.float64],
    site: Sequence[int],
    other_genes: int = 60,
) -> pd.DataFrame:
    """log2(TPM + 0.001)-like values, float64 (patients, named genes), rounded to three decimals.

    Each gene is its mean + a loading times the factor of its set + a site effect + noise. The sets of `NOISE_SETS`
    follow a factor of their own that has nothing to do with survival.

    Parameters
    ----------
    shared, genomics
        Factors (patients,) of mean 0 and variance 1.
    site
        Index (patients,) of the tissue source site.
    """
    patients = len(shared)
    factors = {**dict.fromkeys(SHARED_SETS, shared), **dict.fromkeys(GENOMICS_SETS, genomics)}
    columns: dict[str, NDArray[np.float64]] = {}
    for name, genes in gene_sets().items():
        factor = factors[name] if name in factors else rng.standard_normal(patients)
        for gene in genes:
            if gene not in columns:
                columns[gene] = rng.uniform(0.5, 1.1) * factor
    for number in range(other_genes):
        columns[f"DEMO{number + 1:03d}"] = np.zeros(patients)
    signal = np.stack(list(columns.values()), axis=1)  # (patients, genes)
    mean = rng.uniform(0.0, 8.0, signal.shape[1])
    by_site = 0.25 * rng.standard_normal((max(site) + 1, signal.shape[1]))
    values = mean + signal + by_site[np.asarray(site)] + 0.8 * rng.standard_normal(signal.shape)
    return pd.DataFrame(np.maximum(values, np.log2(0.001)).round(3), columns=list(columns))


def _all_sets() -> dict[str, str]:
    return {**SHARED_SETS, **GENOMICS_SETS, **NOISE_SETS, **TOO_SMALL_SETS}
