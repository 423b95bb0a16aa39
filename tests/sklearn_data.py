"""scikit-learn's small tables, scaled, for the tests of nncore.sklearn."""

from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.preprocessing import scale

IRIS = scale(load_iris().data), load_iris().target
CANCER = scale(load_breast_cancer().data), load_breast_cancer().target
DIABETES = scale(load_diabetes().data), load_diabetes().target / 100
